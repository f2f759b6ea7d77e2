"""A server of gdb's remote protocol: the debugger of the guest's processes (gdb manual, appendix E).

`packets` frames the bytes, `server` reads commands and answers (`commands`, `running`), `control` is what the kernel
talks to: it stops tasks and lets them go.  `stepping` executes one instruction, `watch` finds accesses to variables;
`registers`, `xfer`, `vfile` and `monitor` answer questions.

While a process is stopped the whole machine is: the server reads its socket on the kernel stack of the task that
stopped, so everything that gdb sees is as it was at that instruction.  While they run a thread waits for gdb's bytes,
and the server does nothing.
"""
