"""System V shared memory, semaphores and messages."""
