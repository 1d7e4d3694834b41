"""The operator's command, `./baton`: one module for each subcommand, loaded when it is called."""
