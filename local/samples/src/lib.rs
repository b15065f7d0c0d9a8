//! Bookinfo, httpbin, echo, curl and friends as functions of one binary.
