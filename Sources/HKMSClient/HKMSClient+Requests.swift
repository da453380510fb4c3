import FoundationEssentials
import NIOHTTP1
import ServiceKit

// How the methods of the other files send and read.
extension HKMSClient {
    /// JSON, or nothing, for JSON.
    func json<Body: Decodable & Sendable>(
        _ method: HTTPMethod, _ path: [String], query: [(name: String, value: String?)] = [],
        body: (bytes: [UInt8], mediaType: String)? = nil
    ) async throws(HKMSClientError) -> Response<Body> {
        let request = GatewayTransport.Request(
            method: method, target: try RequestTarget(path, query: query), body: body, maximumBytes: limits.jsonBytes)
        return try decoded(Body.self, try await transport.collect(request))
    }

    /// A bundle of ciphertexts.
    func bundle(
        _ method: HTTPMethod, _ path: [String], body: (bytes: [UInt8], mediaType: String)? = nil
    ) async throws(HKMSClientError) -> Response<[[UInt8]]> {
        let request = GatewayTransport.Request(
            method: method, target: try RequestTarget(path), accept: MediaType.bundle, body: body,
            maximumBytes: limits.binaryBytes)
        let answer = try await transport.collect(request)
        do {
            return answer.with(
                try OctetBundle.decode(
                    answer.body, maximumCount: Self.maximumCiphertexts, maximumBytes: limits.binaryBytes))
        } catch {
            throw .unexpectedResponse(status: answer.status, reason: error.description)
        }
    }

    func encoded(_ value: some Encodable) throws(HKMSClientError) -> (bytes: [UInt8], mediaType: String) {
        do {
            return (try APIJSON.encode(value), MediaType.json)
        } catch {
            throw .invalidArgument(name: "The request", reason: "holds a number that is not finite")
        }
    }

    func bundled(_ ciphertexts: [[UInt8]]) -> (bytes: [UInt8], mediaType: String) {
        (OctetBundle.encode(ciphertexts), MediaType.bundle)
    }

    func decoded<Body: Decodable & Sendable>(
        _: Body.Type, _ answer: Response<[UInt8]>
    ) throws(HKMSClientError) -> Response<Body> {
        do {
            return answer.with(try APIJSON.decode(Body.self, from: answer.body))
        } catch {
            throw .unexpectedResponse(status: answer.status, reason: "the body is no \(Body.self)\(Self.place(error))")
        }
    }

    /// Where decoding failed, without any of the body's own text but the names of its members.
    private static func place(_ error: any Error) -> String {
        guard let error = error as? DecodingError else { return "" }
        switch error {
        case .keyNotFound(let key, _): return ", it lacks \(key.stringValue)"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            let path = context.codingPath.map(\.stringValue).joined(separator: ".")
            return path.isEmpty ? "" : ", see \(path.prefix(200))"
        @unknown default: return ""
        }
    }
}
