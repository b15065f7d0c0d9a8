//! Pod in, patched pod out: shared by the webhook, kube-inject and the local node.
