"""The contenders, one file each; every file here takes part."""
