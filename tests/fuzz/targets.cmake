# The fuzz targets by name: fuzz_<name>.cc here.
set(LSEG_FUZZ_TARGETS
  net solver safetensors caffemodel mean_file npy png_label tiff_mask photo list split)
