"""Customer segmentation: groups of customers by what they bought, named, and tested on what they bought later."""
