import KeyManagement

/// Stands in for the adapter: what its configuration is connected to needs an HTTP client, and is not fuzzed.
public func OpenBaoKMS(_: OpenBaoConfiguration) throws -> any TrustedKMS { throw KMSError.unavailable(reason: "none") }
