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

    /// Encrypts vectors of exact integers under a BFV key set, one ciphertext each. Steps: sampleEncryption.
    /// - Parameters:
    ///   - integers: at most N each, the first N/2 the first row; between -t/2 and t/2.
    ///   - unsigned: they are in 0 ..< t.
    ///   - level: the key set decides by default.
    public func encrypt(
        integers: [[Int64]], unsigned: Bool = false, keySet id: String, level: Int? = nil
    ) async throws(HKMSClientError) -> Response<[[UInt8]]> {
        try await encrypt(
            EncryptRequest(integers: integers, unsigned: unsigned ? true : nil, level: level), keySet: id)
    }

    /// Encrypts records of integers as a circuit takes them, in the order in which a job of it wants them.
    /// Steps: sampleEncryption.
    public func encrypt(
        integerRecords: [IntegerRecordBody], circuit: String, keySet id: String
    ) async throws(HKMSClientError) -> Response<[[UInt8]]> {
        try await encrypt(EncryptRequest(circuit: circuit, integerRecords: integerRecords), keySet: id)
    }

    /// Decrypts ciphertexts that the gateway made or that a receipt vouches for.
    /// Steps: open, secretKeyFromSeed, decryption.
    /// - Parameters:
    ///   - count: values of each vector to give back; all slots by default.
    ///   - complex: whether to give imaginary parts too; CKKS alone.
    ///   - unsigned: whether to give integers in 0 ..< t; BFV alone.
    ///   - release: `flooded`, `raw` or `exact`: a key set that releases otherwise is refused.
    public func decrypt(
        _ ciphertexts: [[UInt8]], keySet id: String, count: Int? = nil, complex: Bool = false, unsigned: Bool = false,
        release: String? = nil
    ) async throws(HKMSClientError) -> Response<DecryptResponse> {
        try await json(
            .POST, ["v1", "keysets", id, "decrypt"],
            query: [
                ("count", count.map { String($0) }), ("complex", complex ? "true" : nil),
                ("unsigned", unsigned ? "true" : nil), ("release", release),
            ],
            body: bundled(ciphertexts))
    }

    private func encrypt(
        _ request: EncryptRequest, keySet id: String
    ) async throws(HKMSClientError) -> Response<[[UInt8]]> {
        try await bundle(.POST, ["v1", "keysets", id, "encrypt"], body: try encoded(request))
    }
}
