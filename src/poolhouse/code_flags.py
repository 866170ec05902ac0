"""The flags of code objects (`types.CodeType.co_flags`), as `inspect` has them.

`inspect` itself imports parsers and disassemblers, which takes longer than most packages here.
"""

CO_OPTIMIZED = 0x1
CO_VARARGS = 0x4
CO_GENERATOR = 0x20
CO_ASYNC_GENERATOR = 0x200
