"""One set of programs and expectations, for the embedded engine and (`JHAAS_PULUMI=cli`) for the real CLI."""
