//! pairs clients with server connections; owns the lease
