import SecretMemory

extension SecretBytes {
    /// A secret that a test knows: its source is ordinary memory, and nobody wipes it.
    package init(copying bytes: some Collection<UInt8>) throws(SecretMemoryError) {
        try self.init(count: bytes.count)
        withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
    }
}
