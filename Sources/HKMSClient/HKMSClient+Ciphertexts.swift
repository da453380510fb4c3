import NIOHTTP1
import ServiceKit

extension HKMSClient {
    /// Encrypts vectors, one ciphertext each. Steps: sampleEncryption.
    /// - Parameters:
    ///   - vectors: at most as many values each as the key set has slots, all finite.
    ///   - scaleBits: log2 of the scale; the key set decides by default.
    ///   - level: the key set decides by default.
    ///   - model: that of which these are inputs, packed as it takes them; its circuit decides scale and level.
    public func encrypt(
        vectors: [EncryptRequest.Vector], keySet id: String, scaleBits: Int? = nil, level: Int? = nil,
        model: String? = nil
    ) async throws(HKMSClientError) -> Response<[[UInt8]]> {
        var request = EncryptRequest(vectors: vectors, scaleBits: scaleBits, level: level)
        request.model = model
        return try await encrypt(request, keySet: id)
    }

    /// Encrypts records as a model takes them; as many ciphertexts as its packing needs.
    /// Steps: sampleEncryption.
    public func encrypt(
        records: [RecordBody], model: String, keySet id: String
    ) async throws(HKMSClientError) -> Response<[[UInt8]]> {
        try await encrypt(EncryptRequest(model: model, records: records), keySet: id)
    }

    /// Decrypts ciphertexts that the gateway made or that a receipt vouches for.
    /// Steps: open, secretKeyFromSeed, decryption.
    /// - Parameters:
    ///   - count: values of each vector to give back; all slots by default.
    ///   - complex: whether to give imaginary parts too.
    ///   - release: `flooded` or `raw`: a key set that releases otherwise is refused.
    public func decrypt(
        _ ciphertexts: [[UInt8]], keySet id: String, count: Int? = nil, complex: Bool = false, release: String? = nil
    ) async throws(HKMSClientError) -> Response<DecryptResponse> {
        try await json(
            .POST, ["v1", "keysets", id, "decrypt"],
            query: [("count", count.map { String($0) }), ("complex", complex ? "true" : nil), ("release", release)],
            body: bundled(ciphertexts))
    }

    private func encrypt(
        _ request: EncryptRequest, keySet id: String
    ) async throws(HKMSClientError) -> Response<[[UInt8]]> {
        try await bundle(.POST, ["v1", "keysets", id, "encrypt"], body: try encoded(request))
    }
}
