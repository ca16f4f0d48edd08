"""Everything on one machine: embedded Valkey, sandbox, worker and Flower under one supervisor."""
