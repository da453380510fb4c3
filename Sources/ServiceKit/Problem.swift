import FoundationEssentials

/// Problem details of an HTTP API (RFC 9457), as every error a caller can cause is told to it.
///
/// Beside the members of the RFC there are `fix`, a sentence that says what to do, and
/// `retryAfterSeconds`, which a server also sends as the Retry-After field.
/// No member ever carries a secret.
public struct Problem: Error, Sendable, Equatable {
    /// The media type of an encoded problem.
    public static let mediaType = "application/problem+json"
    /// What stands before the name in ``type``.
    public static let typePrefix = "urn:hkms:problem:"
    /// The largest body, in bytes, that ``init(decoding:status:)`` looks into.
    public static let maximumEncodedBytes = 65_536
    /// The largest number of characters of one member of a decoded problem; the rest is cut off.
    public static let maximumMemberCharacters = 4_096

    /// URI of the kind of problem: ``typePrefix`` and a kebab-case name.
    public var type: String
    /// The kind of problem in a few words, the same for every occurrence.
    public var title: String
    /// HTTP status code.
    public var status: Int
    /// What happened this time.
    public var detail: String
    /// What the caller can do about it, one sentence.
    public var fix: String
    /// Identifies the occurrence: the request id.
    public var instance: String?
    /// Seconds after which trying again makes sense.
    public var retryAfterSeconds: Int?

    /// - Parameters:
    ///   - name: kebab-case name; ``type`` becomes ``typePrefix`` and this name.
    ///   - title: the kind of problem in a few words.
    ///   - status: HTTP status code.
    ///   - detail: what happened this time.
    ///   - fix: what the caller can do about it.
    ///   - retryAfterSeconds: seconds after which trying again makes sense.
    public init(
        name: String, title: String, status: Int, detail: String, fix: String, retryAfterSeconds: Int? = nil
    ) {
        self.type = Self.typePrefix + name
        self.title = title
        self.status = status
        self.detail = detail
        self.fix = fix
        self.retryAfterSeconds = retryAfterSeconds
    }

    /// The kebab-case name, or the whole of ``type`` where another program made the problem.
    public var name: String {
        type.hasPrefix(Self.typePrefix) ? String(type.dropFirst(Self.typePrefix.count)) : type
    }

    /// The same problem with the request id as its ``instance``.
    public func with(instance: String) -> Problem {
        var problem = self
        problem.instance = instance
        return problem
    }

    /// The JSON body, members in alphabetical order.
    public func encoded() -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings and integers always encode; the fallback is there to have no path that throws.
        guard let body = try? encoder.encode(self) else { return Array("{}".utf8) }
        return Array(body)
    }

    /// Reads the body of an error response, whatever it is.
    ///
    /// A body that is no problem (a proxy's error page, say) gives a problem of type `about:blank`
    /// with `status`; none of its text is kept.
    public init(decoding body: [UInt8], status: Int) {
        if body.count <= Self.maximumEncodedBytes,
            var problem = try? JSONDecoder().decode(Problem.self, from: Data(body))
        {
            // The status line is what the server answered; the member is only advisory (section 3.1.3).
            if problem.title == Self.blankTitle(problem.status) { problem.title = Self.blankTitle(status) }
            problem.status = status
            self = problem
        } else {
            self = Problem(blankWithStatus: status)
        }
    }

    private init(blankWithStatus status: Int) {
        type = "about:blank"
        title = Self.blankTitle(status)
        self.status = status
        detail = ""
        fix = ""
    }

    private static func blankTitle(_ status: Int) -> String { "HTTP status \(status)" }
}

extension Problem: Codable {
    private enum CodingKeys: String, CodingKey {
        case type, title, status, detail, fix, instance, retryAfterSeconds
    }

    /// Tolerant, as RFC 9457 (section 3.1) asks of a consumer: a member that is missing or of
    /// another type counts as absent, and long strings are cut at ``maximumMemberCharacters``.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        func string(_ key: CodingKeys) -> String? {
            guard let text = try? container.decode(String.self, forKey: key) else { return nil }
            return String(text.prefix(Self.maximumMemberCharacters))
        }
        func integer(_ key: CodingKeys, _ range: ClosedRange<Int>) -> Int? {
            guard let value = try? container.decode(Int.self, forKey: key), range ~= value else { return nil }
            return value
        }
        self.init(blankWithStatus: integer(.status, 100...999) ?? 0)
        type = string(.type) ?? type
        title = string(.title) ?? title
        detail = string(.detail) ?? detail
        fix = string(.fix) ?? fix
        instance = string(.instance)
        retryAfterSeconds = integer(.retryAfterSeconds, 0...604_800)
    }
}

extension Problem: CustomStringConvertible {
    public var description: String {
        [title, detail, fix].filter { !$0.isEmpty }.joined(separator: ": ") + " (\(name), status \(status))"
    }
}

/// An error that knows how to tell itself to an HTTP caller.
public protocol ProblemConvertible: Error {
    /// The problem to answer with.
    var problem: Problem { get }
}

extension Problem: ProblemConvertible {
    public var problem: Problem { self }
}
