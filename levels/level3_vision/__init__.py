"""Level 3, convolutional networks: convolution, pooling, LeNet and its successors.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component.
"""

from levels import Member

_HERE = 'levels.level3_vision'
_LENET = 'LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition'
_POOLING = 'Pooling Layers'
_CONV = 'Convolution Operations'
_PADDING = 'Padding & Stride'
_AUGMENTATION = 'Data Augmentation'
_CAM = 'Class Activation Maps (CAM)'
_OVERFITTING = 'Dealing with Overfitting'
_ARITHMETIC = 'Dumoulin, Visin 2016, A guide to convolution arithmetic for deep learning'
_KRIZHEVSKY = 'Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep convolutional networks'
_HOWARD = 'Howard 2013, Some improvements on deep convolutional neural network based image classification'
_TONES = 'Cubuk et al. 2019, AutoAugment: learning augmentation policies from data, table 6'

DONE = (        # topics whose definition of done is met
    'Convolution Operations', 'Feature Maps', 'Pooling Layers', 'Padding & Stride', 'CNN Architecture Basics', 'LeNet',
    'AlexNet', 'VGG', 'ResNet', 'MobileNet', 'EfficientNet', 'Data Augmentation', 'Transfer Learning', 'Fine-Tuning',
    'Class Activation Maps (CAM)', _OVERFITTING)


def _row(kind: str, path: str, topic: str, oracle: str, paper: str) -> Member:
    return Member(path.rpartition('.')[2], kind, f'{_HERE}.{path}', 3, topic, oracle, paper)


MEMBERS = (
    _row('op', 'conv.conv_general_dilated', _CONV, 'torch.nn.functional.conv2d, jax.lax.conv_general_dilated',
         'LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition'),
    _row('linen module', 'conv.Conv', _CONV, 'torch.nn.Conv2d',
         'LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition'),
    _row('op', 'winograd.winograd', _CONV, 'torch.nn.functional.conv2d, jax.lax.conv_general_dilated',
         'Lavin, Gray 2016, Fast algorithms for convolutional neural networks'),
    _row('op', 'depthwise.depthwise', _CONV, 'torch.nn.functional.conv2d, jax.lax.conv_general_dilated',
         'Howard et al. 2017, MobileNets'),
    _row('op', 'planes.conv_planes', _CONV, 'torch.nn.functional.conv2d',
         'Krizhevsky 2014, cuda-convnet2 (the layout)'),
    _row('op', 'pooling.max_pool', _POOLING, 'torch.nn.functional.max_pool2d',
         'Scherer, Mueller, Behnke 2010, Evaluation of pooling operations in convolutional architectures'),
    _row('op', 'pooling.avg_pool', _POOLING, 'torch.nn.functional.avg_pool2d',
         'LeCun et al. 1989, Handwritten digit recognition with a back-propagation network'),
    _row('op', 'conv_forms.conv2d', _CONV, 'torch.nn.functional.conv2d', _ARITHMETIC),
    _row('op', 'conv_forms.conv_transpose2d', _CONV, 'torch.nn.functional.conv_transpose2d, jax.lax.conv_transpose',
         _ARITHMETIC),
    _row('linen module', 'conv_forms.ConvTranspose', _CONV, 'torch.nn.ConvTranspose2d',
         'Zeiler, Krishnan, Taylor, Fergus 2010, Deconvolutional networks'),
    _row('op', 'features.feature_maps', 'Feature Maps', 'torch forward hooks',
         'Zeiler, Fergus 2014, Visualizing and understanding convolutional networks'),
    _row('op', 'features.map_gradients', 'Feature Maps', 'torch retain_grad',
         'Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks'),
    _row('op', 'features.receptive_field', 'Feature Maps', 'torch.nn.functional.conv2d',
         'Araujo, Norris, Sim 2019, Computing receptive fields of convolutional neural networks'),
    _row('op', 'features.measured_field', 'Feature Maps', 'the calculated field',
         'Luo et al. 2016, Understanding the effective receptive field in deep convolutional networks'),
    _row('op', 'pooling.global_avg_pool', _POOLING, 'torch.nn.functional.adaptive_avg_pool2d',
         'Lin, Chen, Yan 2013, Network in network'),
    _row('op', 'pooling.global_max_pool', _POOLING, 'torch.nn.functional.adaptive_max_pool2d',
         'Oquab, Bottou, Laptev, Sivic 2015, Is object localization for free?'),
    _row('op', 'pooling.adaptive_avg_pool', _POOLING, 'torch.nn.functional.adaptive_avg_pool2d',
         'He, Zhang, Ren, Sun 2014, Spatial pyramid pooling in deep convolutional networks'),
    _row('op', 'pooling.adaptive_max_pool', _POOLING, 'torch.nn.functional.adaptive_max_pool2d',
         'He, Zhang, Ren, Sun 2014, Spatial pyramid pooling in deep convolutional networks'),
    _row('op', 'padding.pad_amounts', _PADDING, 'jax.lax.padtype_to_pads, torch.nn.functional.conv2d', _ARITHMETIC),
    _row('op', 'padding.conv_shape', _PADDING, 'jax.lax.conv_general_dilated', _ARITHMETIC),
    _row('op', 'padding.conv_transpose_shape', _PADDING, 'torch.nn.functional.conv_transpose2d, jax.lax.conv_transpose',
         _ARITHMETIC),
    _row('op', 'padding.pool_shape', _PADDING, 'torch.nn.functional.max_pool2d, jax.lax.reduce_window', _ARITHMETIC),
    _row('linen module', 'cnn.ConvBlock', 'CNN Architecture Basics', 'torch.nn.Conv2d, torch.nn.BatchNorm2d',
         'Ioffe, Szegedy 2015, Batch normalization: accelerating deep network training'),
    _row('linen module', 'cnn.CNN', 'CNN Architecture Basics', 'torch.nn.Sequential, weights copied',
         'LeCun et al. 1989, Handwritten digit recognition with a back-propagation network'),
    _row('op', 'augment.random_crop', _AUGMENTATION, 'numpy slices', _KRIZHEVSKY),
    _row('op', 'augment.random_resized_crop', _AUGMENTATION, 'Pillow',
         'Szegedy et al. 2015, Going deeper with convolutions'),
    _row('op', 'augment.random_flip', _AUGMENTATION, 'numpy', _KRIZHEVSKY),
    _row('op', 'augment.random_erase', _AUGMENTATION, 'numpy',
         'Zhong, Zheng, Kang, Li, Yang 2017, Random erasing data augmentation'),
    _row('op', 'augment.color_jitter', _AUGMENTATION, 'adjust_color, the uniform distribution', _HOWARD),
    _row('op', 'photometric.adjust_color', _AUGMENTATION, 'Pillow, colorsys', _HOWARD),
    _row('op', 'photometric.sharpen', _AUGMENTATION, 'Pillow', _TONES),
    _row('op', 'photometric.posterize', _AUGMENTATION, 'Pillow', _TONES),
    _row('op', 'photometric.solarize', _AUGMENTATION, 'Pillow', _TONES),
    _row('op', 'photometric.autocontrast', _AUGMENTATION, 'Pillow', _TONES),
    _row('op', 'photometric.equalize', _AUGMENTATION, 'Pillow', _TONES),
    _row('op', 'rand_augment.affine', _AUGMENTATION, 'scipy.ndimage.affine_transform',
         'Jaderberg, Simonyan, Zisserman, Kavukcuoglu 2015, Spatial transformer networks'),
    _row('op', 'rand_augment.rand_augment', _AUGMENTATION, 'each operation by itself',
         'Cubuk, Zoph, Shlens, Le 2020, RandAugment: practical automated data augmentation'),
    _row('op', 'mixes.mixup', _AUGMENTATION, 'the formula in numpy, common.wrappers.with_mixup',
         'Zhang, Cisse, Dauphin, Lopez-Paz 2018, mixup: beyond empirical risk minimization'),
    _row('op', 'mixes.cutmix', _AUGMENTATION, 'the formula in numpy',
         'Yun et al. 2019, CutMix: regularization strategy to train strong classifiers'),
    _row('op', 'cam.cam', _CAM, 'torch', 'Zhou et al. 2016, Learning deep features for discriminative localization'),
    _row('op', 'cam.grad_cam', _CAM, 'torch autograd',
         'Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks'),
    _row('op', 'cam.grad_cam_plus', _CAM, 'torch autograd',
         'Chattopadhay et al. 2018, Grad-CAM++: generalized gradient-based visual explanations'),
    _row('op', 'cam.integrated_gradients', _CAM, 'scipy.integrate.quad',
         'Sundararajan, Taly, Yan 2017, Axiomatic attribution for deep networks'),
    _row('op', 'cam.occlusion', _CAM, 'numpy',
         'Zeiler, Fergus 2014, Visualizing and understanding convolutional networks'),
    _row('op', 'cam.upsample', _CAM, 'torch.nn.functional.interpolate',
         'Selvaraju et al. 2017, Grad-CAM: visual explanations from deep networks'),
    _row('op', 'cam.pointing_game', _CAM, 'numpy',
         'Zhang et al. 2016, Top-down neural attention by excitation backprop'),
    _row('op', 'overfitting.learning_curve', _OVERFITTING, 'sklearn.model_selection.learning_curve',
         'Cortes et al. 1993, Learning curves: asymptotic values and rate of convergence'),
    _row('op', 'overfitting.validation_curve', _OVERFITTING, 'sklearn.model_selection.validation_curve',
         'Stone 1974, Cross-validatory choice and assessment of statistical predictions'),
    _row('op', 'overfitting.double_descent', _OVERFITTING, 'numpy.linalg.pinv',
         'Belkin, Hsu, Ma, Mandal 2019, Reconciling modern machine-learning practice and bias-variance'),
    _row('op', 'overfitting.noisy_labels', _OVERFITTING, 'the transition matrix',
         'Zhang et al. 2017, Understanding deep learning requires rethinking generalization'),
    _row('op', 'overfitting.memorisation', _OVERFITTING, 'common.task.train_fn',
         'Arpit et al. 2017, A closer look at memorization in deep networks'),
    _row('linen module', 'lenet.LeNet5', 'LeNet', 'the same network in torch, weights copied', _LENET),
    _row('linen module', 'lenet.LeNet5Original', 'LeNet', 'the same network in torch, weights copied', _LENET),
    _row('loss', 'lenet.rbf_mse_loss', 'LeNet', 'torch, hand values', f'{_LENET}, eq. 8'),
    _row('loss', 'lenet.rbf_map_loss', 'LeNet', 'torch, hand values', f'{_LENET}, eq. 9'),
    _row('linen module', 'resnet.ResNet', 'ResNet', 'transformers.ResNetForImageClassification; torch, timm names (v2)',
         'He, Zhang, Ren, Sun 2016, Deep residual learning for image recognition'),
    _row('linen module', 'vgg.VGG', 'VGG', 'torch, torchvision names',
         'Simonyan, Zisserman 2015, Very deep convolutional networks for large-scale image recognition'),
    _row('linen module', 'alexnet.AlexNet', 'AlexNet', 'torch, torchvision names', _KRIZHEVSKY),
    _row('op', 'alexnet.local_response_norm', 'AlexNet', 'torch.nn.functional.local_response_norm', _KRIZHEVSKY),
    _row('linen module', 'mobilenet.MobileNetV2', 'MobileNet', 'transformers.MobileNetV2ForImageClassification',
         'Sandler, Howard, Zhu, Zhmoginov, Chen 2018, MobileNetV2: inverted residuals and linear bottlenecks'),
    _row('linen module', 'mobilenet.MobileNetV3', 'MobileNet', 'torch, torchvision names',
         'Howard et al. 2019, Searching for MobileNetV3'),
    _row('linen module', 'efficientnet.EfficientNet', 'EfficientNet', 'transformers.EfficientNetForImageClassification',
         'Tan, Le 2019, EfficientNet: rethinking model scaling for convolutional neural networks'),
    _row('op', 'finetune.transplant', 'Transfer Learning', 'numpy, leaf by leaf',
         'Yosinski, Clune, Bengio, Lipson 2014, How transferable are features in deep neural networks?'),
    _row('op', 'finetune.layer_decay', 'Fine-Tuning', 'torch.optim with a rate for each parameter group',
         'Howard, Ruder 2018, Universal language model fine-tuning for text classification'),
)
