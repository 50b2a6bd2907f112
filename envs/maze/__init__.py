"""The maze of Miconi et al. (2018), section 4.4."""
