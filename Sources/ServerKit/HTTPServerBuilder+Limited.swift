import HummingbirdCore
import HummingbirdHTTP2
import HummingbirdTLS
import NIOCore
import NIOHTTP1
import NIOSSL

extension HTTPServerBuilder {
    /// HTTP/1.1 with small heads that have to arrive within 30 seconds; an idle connection is closed after two minutes,
    /// which is later than clients give theirs up, so that none is closed under a request.
    public static var limitedHTTP1: HTTPServerBuilder { .http1(configuration: .limited) }

    /// ``limitedHTTP1`` over TLS, whose handshake has to end within ten seconds.
    static func limitedHTTP1(_ tls: TLSConfiguration) -> HTTPServerBuilder {
        HTTPServerBuilder { responder in
            HandshakeLimitedChannel(
                base: try TLSChannel(
                    HTTP1Channel(responder: responder, configuration: .limited), tlsConfiguration: tls))
        }
    }

    /// HTTP/2 over TLS for whoever asks for it by ALPN, and ``limitedHTTP1`` for the others.
    static func limitedHTTP2(_ tls: TLSConfiguration) -> HTTPServerBuilder {
        HTTPServerBuilder { responder in
            HandshakeLimitedChannel(
                base: try HTTP2UpgradeChannel(
                    tlsConfiguration: tls,
                    configuration: .init(
                        idleTimeout: .seconds(120), gracefulCloseTimeout: .seconds(30), streamConfiguration: .limited),
                    responder: responder))
        }
    }
}

extension HTTP1Channel.Configuration {
    fileprivate static var limited: Self {
        .init(
            additionalChannelHandlers: [RequestHeadTimeLimit()], idleTimeout: .seconds(120),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: 16_384, maxHeaderListSize: 32_768, maxHeaderFieldCount: 100))
    }
}
