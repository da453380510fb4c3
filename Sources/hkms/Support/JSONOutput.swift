import Foundation
import HKMSClient

/// A body of docs/api.md with what came beside it: `timings` in milliseconds by step, `requestID`.
struct JSONOutput<Body: Encodable & Sendable>: Encodable {
    let body: Body
    let timings: [String: Double]
    let requestID: String?

    init(_ response: HKMSClient.Response<some Sendable>, body: Body) {
        self.body = body
        timings = Dictionary(response.timings.entries.map { ($0.name, $0.milliseconds) }, uniquingKeysWith: +)
        requestID = response.requestID
    }

    private enum CodingKeys: String, CodingKey {
        case timings, requestID
    }

    func encode(to encoder: any Encoder) throws {
        try body.encode(to: encoder)
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(timings, forKey: .timings)
        try container.encodeIfPresent(requestID, forKey: .requestID)
    }

    /// Writes it for people and programs: indented, sorted.
    func write() throws { try JSONText.write(self) }
}

extension JSONOutput {
    init(_ response: HKMSClient.Response<Body>) {
        self.init(response, body: response.body)
    }
}
