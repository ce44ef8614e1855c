"""On the PYTHONPATH of vLLM's CPU build: operators that torchvision's wheels expect of a CUDA build are declared, so that
it can be imported beside torch for the CPU.
"""

import torch

_LIBRARY = torch.library.Library("torchvision", "DEF")
_LIBRARY.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
_LIBRARY.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
