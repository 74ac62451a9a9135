/* Starts reveal.js, makes crowded slides smaller, and shows notes (N) or code (C) of the present slide. */
(function () {
  const size = document.body.dataset;
  const panel = document.getElementById("panel");
  let shown = "";

  function fit(slide) {
    // Layout in the slide's own pixels: the scale of the page does not matter. Small text is a sign to shorten.
    const body = slide.querySelector(".body");
    if (!body || slide.dataset.fitted || slide.classList.contains("figure")) return;
    const room = Number(size.height) - 20 - body.offsetTop;
    let scale = 1;
    while (body.offsetHeight > room && scale > 0.5) {
      scale -= 0.04;
      body.style.fontSize = scale + "em";
    }
    if (body.offsetHeight > room) {
      const rich = body.querySelector(".rich");
      if (rich) rich.style.zoom = room / body.offsetHeight;
    }
    if (body.offsetHeight) slide.dataset.fitted = "yes";
  }

  function show(kind) {
    const slide = Reveal.getCurrentSlide();
    const source = slide.querySelector(kind === "notes" ? "aside.notes" : ".source");
    shown = kind;
    panel.hidden = !kind;
    panel.innerHTML = kind ? (source ? source.innerHTML : "<p>No " + kind + " on this slide.</p>") : "";
    panel.scrollTop = 0;
  }

  function toggle(kind) { show(shown === kind ? "" : kind); }

  document.querySelectorAll(".slides > section").forEach((slide, place) => {
    slide.setAttribute("aria-label", "Slide " + (place + 1));
  });
  Reveal.initialize({
    width: Number(size.width), height: Number(size.height), margin: 0.03, minScale: 0.1, maxScale: 3,
    hash: true, hashOneBasedIndex: true, center: false, transition: "none", slideNumber: "c/t", controls: false,
    navigationMode: "linear", viewDistance: 1000, keyboardCondition: null, pdfSeparateFragments: false,
  }).then(() => {
    fit(Reveal.getCurrentSlide());
    if (/[?&]print-pdf/.test(location.search)) document.querySelectorAll(".slides section").forEach(fit);
  });
  Reveal.addKeyBinding({ keyCode: 78, key: "N", description: "Notes" }, () => toggle("notes"));
  Reveal.addKeyBinding({ keyCode: 67, key: "C", description: "Code" }, () => toggle("code"));
  Reveal.on("slidechanged", (event) => { fit(event.currentSlide); if (shown) show(shown); });
  window.addEventListener("beforeprint", () => document.querySelectorAll(".slides > section").forEach((slide) => {
    slide.hidden = false;
    slide.removeAttribute("aria-hidden");
  }));
})();
