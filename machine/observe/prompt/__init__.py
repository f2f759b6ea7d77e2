"""Where ``--break-on`` stops without gdb: a prompt on the terminal, or commands from a file."""
