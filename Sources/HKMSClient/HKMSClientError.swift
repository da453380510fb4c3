import ServiceKit

/// Why a call of ``HKMSClient`` failed.
public enum HKMSClientError: Error, Sendable, Equatable {
    /// A CA certificate file that cannot be used.
    case caCertificate(path: String, reason: String)
    /// A client certificate or its private key that cannot be used.
    case clientCertificate(certificate: String, key: String, reason: String)
    /// The task that made the call was cancelled.
    case cancelled
    /// The address names no gateway.
    case invalidAddress(address: String, reason: String)
    /// An argument that no request can carry.
    case invalidArgument(name: String, reason: String)
    /// The token is empty, too long or has characters that no token has.
    case invalidToken(reason: String)
    /// http to a host that is not this one: token and data would travel in the clear.
    case plainHTTP(address: String)
    /// The gateway answered with a problem (RFC 9457).
    case problem(Problem)
    /// An answer larger than the client was told to accept.
    case responseTooLarge(maximumBytes: Int)
    /// No complete answer within the client's time limit.
    case timedOut(address: String, after: Duration)
    /// An answer that docs/api.md does not allow; `status` is its HTTP status.
    case unexpectedResponse(status: Int, reason: String)
    /// No connection, or one that broke.
    case unreachable(address: String, reason: String)
}

extension HKMSClientError: ActionableError {
    public var title: String {
        switch self {
        case .caCertificate: "CA certificate not usable"
        case .clientCertificate: "Client certificate not usable"
        case .cancelled: "Cancelled"
        case .invalidAddress: "Address not usable"
        case .invalidArgument: "Argument not usable"
        case .invalidToken: "Token not usable"
        case .plainHTTP: "Address without TLS"
        case .problem(let problem): problem.title
        case .responseTooLarge: "Answer too large"
        case .timedOut: "No answer in time"
        case .unexpectedResponse: "Unexpected answer"
        case .unreachable: "Gateway unreachable"
        }
    }

    public var detail: String {
        switch self {
        case .caCertificate(let path, let reason): "\(path): \(reason)"
        case .clientCertificate(let certificate, let key, let reason): "\(certificate) with the key \(key): \(reason)"
        case .cancelled: "the request was given up"
        case .invalidAddress(let address, let reason): "\(address): \(reason)"
        case .invalidArgument(let name, let reason): "\(name) \(reason)"
        case .invalidToken(let reason): "the token \(reason)"
        case .plainHTTP(let address): "\(address) would carry token and data unencrypted over a network"
        case .problem(let problem): problem.detail
        case .responseTooLarge(let maximum): "it has more than the \(maximum) bytes that are accepted"
        case .timedOut(let address, let limit): "\(address) gave none within \(limit.components.seconds) seconds"
        case .unexpectedResponse(let status, let reason): "status \(status): \(reason)"
        case .unreachable(let address, let reason): "\(address): \(reason)"
        }
    }

    public var fix: String {
        switch self {
        case .caCertificate: "Give a PEM file with the certificate of the authority that signed the gateway's."
        case .clientCertificate:
            "Give PEM files: the certificate with those between it and its authority, and its unencrypted private key."
        case .cancelled: "Repeat it; a registration with the same request id gives the same key set."
        case .invalidAddress: "Give the gateway's address as https://HOST[:PORT] or http://127.0.0.1:PORT."
        case .invalidArgument: "Correct the argument."
        case .invalidToken: "Give the token as it was handed out: one line that begins with hkms_."
        case .plainHTTP: "Use https; http is for 127.0.0.0/8, ::1 and localhost alone."
        case .problem(let problem): problem.fix
        case .responseTooLarge: "Ask for less at once, or raise the client's limit."
        case .timedOut: "Try again, with a longer time limit if the request is a large one."
        case .unexpectedResponse: "Check that the address is that of an HKMS gateway of this version."
        case .unreachable: "Start it with hkms serve --config FILE, or correct its address, or for https its CA file."
        }
    }
}

extension HKMSClientError: CustomStringConvertible {
    public var description: String { "\(title): \(detail). \(fix)" }
}
