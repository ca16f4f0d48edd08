"""The contenders, one file each: whatever lies here takes part."""
