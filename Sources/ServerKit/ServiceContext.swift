import Hummingbird
import ServiceKit

/// What a request carries through the middleware of an HKMS server.
public struct ServiceContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    /// Who asks, once authenticated.
    public var principal: Principal?
    /// Names this request in logs, in `X-Request-Id` and in problems.
    public let requestID: String

    public init(source: Source) {
        coreContext = .init(source: source)
        var generator = SystemRandomNumberGenerator()
        let number = UInt64.random(in: .min ... .max, using: &generator)
        requestID = HexCoding.encode((0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) })
    }
}
