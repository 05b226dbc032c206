"""Scale: where a network lies on a mesh, and what its step costs on accelerators that
are not here.

`placement` says how each parameter is laid on a mesh of the axes `data` and `model`;
`ahead` compiles the training step for a `target` and reads the compiled program.
Compiling for TPUs needs the extra ``ahead``; for an H100 the extra ``ahead-gpu``.
"""
