"""Images that come by HTTP: taken within limits, entered into a ledger, enhanced, handed out."""
