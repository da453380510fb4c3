import HummingbirdCore
import NIOHTTP1

extension HTTPServerBuilder {
    /// HTTP/1.1 with small heads; an idle connection is closed after two minutes, which is later than clients
    /// give theirs up, so that none is closed under a request.
    public static var limitedHTTP1: HTTPServerBuilder {
        .http1(
            configuration: .init(
                idleTimeout: .seconds(120),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: 16_384, maxHeaderListSize: 32_768, maxHeaderFieldCount: 100)))
    }
}
