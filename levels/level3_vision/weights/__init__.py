"""Weights of this level's networks under the names that other libraries give them, both ways, bit for bit.

    tables.py    which layer is called what: one table per family and library, read in both directions
    bridge.py    carries tables out: names, layouts, files
    report.py    two networks layer by layer: which is the first that differs

Example:
    from levels.level3_vision.resnet import ResNet
    from levels.level3_vision.weights import bridge, report
    model = ResNet(depth=18)
    variables = bridge.load(model, 'resnet18.pth', 'torchvision')         # or .safetensors; torch is not needed
    bridge.save('model.safetensors', model, variables, 'huggingface')
"""
