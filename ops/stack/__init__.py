"""Everything on one machine: embedded Valkey, sandbox, worker, API and Flower under one supervisor."""
