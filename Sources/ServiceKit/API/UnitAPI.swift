import FoundationEssentials

// Bodies of the evaluation unit's API, docs/api.md.

/// `GET /v1/models` of an evaluation unit.
public struct UnitModelList: Codable, Sendable, Hashable {
    /// Each a signed description of a model or a circuit: a DSSE envelope, as JSON text.
    public var descriptors: [String]
    public init(descriptors: [String]) { self.descriptors = descriptors }
}

/// Which evaluation keys a unit has, and needs, under one manifest.
public struct UnitKeyStatus: Codable, Sendable, Hashable {
    /// SHA-256 digests in lower-case hex.
    public var have: [String]
    public var need: [String]
    public init(have: [String], need: [String]) {
        self.have = have
        self.need = need
    }
}

/// Media types of the two APIs.
public enum MediaType {
    public static let json = "application/json"
    public static let octetStream = "application/octet-stream"
    /// An ``OctetBundle`` of ciphertexts.
    public static let bundle = "application/vnd.hkms.bundle"
    /// A DSSE envelope.
    public static let envelope = "application/vnd.dsse.envelope.v1+json"
}

/// One way to write and read JSON of both APIs: sorted keys, ISO 8601 dates.
public enum APIJSON {
    public static func encode(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        return Array(try encoder.encode(value))
    }

    public static func decode<Value: Decodable>(_: Value.Type, from bytes: [UInt8]) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        return try decoder.decode(Value.self, from: Data(bytes))
    }
}
