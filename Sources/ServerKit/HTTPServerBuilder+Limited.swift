import HummingbirdCore
import HummingbirdHTTP2
import NIOCore
import NIOHTTP1
import NIOSSL

extension HTTPServerBuilder {
    /// HTTP/1.1 with small heads; an idle connection is closed after two minutes, which is later than clients
    /// give theirs up, so that none is closed under a request.
    public static var limitedHTTP1: HTTPServerBuilder { .http1(configuration: .limited) }

    /// HTTP/2 over TLS for whoever asks for it by ALPN, and ``limitedHTTP1`` for the others.
    static func limitedHTTP2(_ tls: TLSConfiguration) throws -> HTTPServerBuilder {
        try .http2Upgrade(
            tlsConfiguration: tls,
            configuration: .init(
                idleTimeout: .seconds(120), gracefulCloseTimeout: .seconds(30), streamConfiguration: .limited))
    }
}

extension HTTP1Channel.Configuration {
    fileprivate static var limited: Self {
        .init(
            idleTimeout: .seconds(120),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: 16_384, maxHeaderListSize: 32_768, maxHeaderFieldCount: 100))
    }
}
