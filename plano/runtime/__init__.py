"""The event loop and the process: timers, buffers and memory."""
