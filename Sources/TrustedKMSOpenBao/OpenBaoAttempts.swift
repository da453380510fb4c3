import KeyManagement

/// Whether a request may be sent again after a failure that may pass.
enum OpenBaoRepetition: Sendable {
    /// It changes nothing, or sent twice the same as once.
    case always
    /// It must not happen twice: sent again only where no server has taken it.
    case unsent
    /// As ``unsent``, and a redirect counts as taken: a standby answers so, too, where it forwarded the request and the
    /// active server died before it answered.
    case once
}

/// A request without an answer.
struct OpenBaoFailure: Error {
    let error: KMSError
    /// Whether a server may have taken the request.
    let mayHaveArrived: Bool
    /// Whether the same server may serve it in a moment.
    let mayPass: Bool
    /// Whether it is the gateway's own, and none of the server's.
    var isLocal = false
}

/// Counts the attempts at one call and waits between them.
struct OpenBaoAttempts {
    private let nodes: Int
    /// None starts after it, but one at each node.
    private let end: ContinuousClock.Instant
    private let repetition: OpenBaoRepetition
    private var count = 1
    private var conflicts = 0

    private static let maximumConflicts = 4
    private static let longestPause = Duration.seconds(1)

    init(nodes: Int, time: Duration, repetition: OpenBaoRepetition) {
        self.nodes = nodes
        self.repetition = repetition
        end = .now + time
    }

    /// Time in which another may start.
    var timeLeft: Duration { max(.zero, ContinuousClock.now.duration(to: end)) }

    /// Waits for another attempt.
    /// - Returns: false where `failure` is the call's.
    mutating func areLeft(after failure: OpenBaoFailure) async -> Bool {
        if failure.mayHaveArrived, repetition != .always { return false }
        if !failure.mayPass, count >= nodes { return false }
        return await pause()
    }

    /// Waits for another attempt.
    /// - Returns: false where `answer` is the call's.
    mutating func areLeft(after answer: borrowing OpenBaoAnswer) async -> Bool {
        if answer.isConflict {
            conflicts += 1
            guard conflicts <= Self.maximumConflicts else { return false }
            return await sleep(.milliseconds(Int.random(in: 1...(10 << conflicts))))
        }
        if answer.status == 429 {
            // A limit is the server's for everybody: another node is no way around it.
            let wait = answer.retryAfterSeconds.map { Duration.seconds($0) } ?? .zero
            guard ContinuousClock.now + wait < end else { return false }
            return await pause(atLeast: wait)
        }
        // Once at each server: the last one's word is the call's.
        if answer.isBehind { return count < nodes ? await pause() : false }
        guard answer.isNotServed else { return false }
        // A sealed node takes nothing, and stays sealed until people come.
        if answer.isSealed { return count < nodes ? await pause() : false }
        let isNotTaken = answer.isNotTaken && (repetition != .once || !answer.isRedirect)
        return repetition == .always || isNotTaken ? await pause() : false
    }

    private mutating func pause(atLeast least: Duration = .zero) async -> Bool {
        let limit = min(Self.longestPause, .milliseconds(50 << min(count, 10)))
        // Spread, so that the callers of a server that comes back do not come all at once.
        let pause = least + limit * Double.random(in: 0.2...1)
        guard count < nodes || ContinuousClock.now + pause < end else { return false }
        count += 1
        return await sleep(pause)
    }

    private func sleep(_ pause: Duration) async -> Bool {
        do { try await Task.sleep(for: pause) } catch { return false }
        return true
    }
}

extension OpenBaoAnswer {
    /// OpenBao's storage transactions are optimistic: of two calls that change one key at once, one fails and has
    /// changed nothing.
    var isConflict: Bool { status == 500 && body.contains("transaction commit failed") }

    var isSealed: Bool { status == 503 && body.contains("is sealed") }

    /// Another server is the one to ask. 412: this one lags behind the one that took the last write. 472, 473 and
    /// redirects: a standby that does not forward.
    var isNotTaken: Bool {
        switch status {
        case 300..<400, 412, 472, 473: true
        default: false
        }
    }

    var isRedirect: Bool { (300..<400).contains(status) }

    /// A standby that lags takes a ciphertext of a version that another server added for none of the key's.
    var isBehind: Bool { status == 400 && body.contains("version is too new") }

    /// Not for a reason that lies in the request.
    var isNotServed: Bool { isNotTaken || status >= 500 }
}
