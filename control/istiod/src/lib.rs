//! Sources, hub (sole owner of World), push, ADS, CA, webhooks, status, debug.
