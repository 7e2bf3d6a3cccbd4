"""From scans to organ patches and exactly back: resampling, intensities, cropping, and the pass over a dataset."""
