"""The PCI core: what firmware left, drivers, and the files of /proc and /sys (drivers/pci/)."""
