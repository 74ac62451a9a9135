"""ImageNet weights of VGG-16 for perceptual losses and contrast, into the cache of this user, as safetensors."""

from data_scripts.commands import run_script

if __name__ == "__main__":
    run_script("fetch", "vgg16")
