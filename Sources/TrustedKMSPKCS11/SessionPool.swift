import CPKCS11
import KeyManagement
import LocalFiles
import SecretMemory
import Synchronization

/// Sessions of one token, each in the hands of one thread at a time, opened when they are needed and kept.
///
/// Sessions are read-only. One that may change keys is opened for one administration and closed after it. What ends
/// with a session, login or token that is lost is done once more in a new session, and once more after the module was
/// initialized anew, since some modules need that to see a token again. What may have made a key is not done twice.
final class SessionPool: Sendable {
    private struct State {
        var idle: [PKCS11Session] = []
        var slot: UInt?
        /// Of the module, that `idle` and `slot` belong to.
        var generation = 0
        /// Jobs that run or wait.
        var jobs = 0
        /// Why logging in is not tried again: a token locks after a few wrong PINs.
        var refusal: (error: KMSError, end: ContinuousClock.Instant?)?
        /// Logins in a row that failed for no reason of the PIN's, as far as the module says.
        var oddLogins = 0
        var isShutDown = false
        /// Told when all is closed after a shutdown.
        var closed: FirstAnswer<Void>?
    }

    private let uri: PKCS11URI
    private let module: PKCS11Module
    private let pin: SecretBytes
    private let threads: BlockingPool
    private let maximumJobs: Int
    private let timeLimit: Duration
    private let state = Mutex(State())
    /// One opens and logs in at a time, so that a wrong PIN is tried once.
    private let opening = Mutex(())
    /// One changes keys at a time, so that two rotations are two versions.
    private let administration = Mutex(())

    private static let maximumWaiting = 1024
    /// After a login that failed for no reason of the PIN's, as far as the module says; twice as long after each
    /// further one, up to the longest.
    private static let loginPause = 30
    private static let longestLoginPause = 900
    /// A call that hangs in the module does not keep the process from ending.
    private static let closingTime = Duration.seconds(5)

    /// - Parameter module: given back when the pool is shut down.
    init(_ configuration: PKCS11Configuration, module: PKCS11Module, pin: consuming SecretBytes) {
        uri = configuration.uri
        self.module = module
        self.pin = pin
        threads = BlockingPool(label: "hkms.pkcs11", width: configuration.sessions)
        maximumJobs = configuration.sessions + Self.maximumWaiting
        timeLimit = configuration.timeLimit
    }

    /// Runs `work` with a session, on a thread that may block.
    /// - Parameter administering: with a session that may change keys, and nobody else in this process does.
    func run<Success: Sendable>(
        administering: Bool = false, _ work: @escaping @Sendable (PKCS11Session) throws(PKCS11Failure) -> Success
    ) async throws(KMSError) -> Success {
        let isAdmitted = state.withLock { state -> Bool? in
            // The module was given back with the last job.
            guard !state.isShutDown else { return nil }
            guard state.jobs < maximumJobs else { return false }
            state.jobs += 1
            return true
        }
        guard let isAdmitted else { throw Self.shutDown }
        guard isAdmitted else { throw .throttled(retryAfterSeconds: 1) }
        return try await inTime(administering ? timeLimit * 4 : timeLimit) { [threads] isOver throws(KMSError) in
            try await threads.run { () throws(KMSError) in
                defer { self.endJob() }
                // What nobody waits for any more is not begun.
                guard !isOver() else { throw Self.notBegun }
                guard administering else { return try self.attempt(readWrite: false, work) }
                return try self.administration.withLock { _ throws(KMSError) -> Success in
                    guard !isOver() else { throw Self.notBegun }
                    return try self.attempt(readWrite: true, work)
                }
            }
        }
    }

    private static let notBegun = KMSError.unavailable(reason: "the token was busy for too long")

    /// A call that hangs in the module keeps its thread, and not who asked for it.
    /// - Parameter body: asks its argument whether it was given up.
    private func inTime<Success: Sendable>(
        _ limit: Duration,
        _ body: @escaping @Sendable (_ isOver: @escaping @Sendable () -> Bool) async throws(KMSError) -> Success
    ) async throws(KMSError) -> Success {
        let result = await withCheckedContinuation { continuation in
            let answer = FirstAnswer<Result<Success, KMSError>>(continuation)
            let timer = Task {
                do { try await Task.sleep(for: limit) } catch { return }
                answer.give(
                    .failure(
                        .unavailable(
                            reason: "the token did not answer within \(limit.components.seconds) s, and may do what it "
                                + "was asked for all the same: see the HSM, and set a time limit in its client")))
            }
            Task {
                do throws(KMSError) {
                    answer.give(.success(try await body { answer.isGiven }))
                } catch { answer.give(.failure(error)) }
                timer.cancel()
            }
        }
        return try result.get()
    }

    /// Lets what runs end, closes all sessions and gives the module back. Waits for that for a few seconds; a call that
    /// hangs in the module is left behind.
    func shutdown() async {
        await withCheckedContinuation { continuation in
            let closed = FirstAnswer<Void>(continuation)
            let isFirst = state.withLock { state in
                guard !state.isShutDown else { return false }
                state.isShutDown = true
                state.jobs += 1
                state.closed = closed
                return true
            }
            guard isFirst else { return closed.give(()) }
            Task { await threads.run { self.endJob() } }
            Task {
                try? await Task.sleep(for: Self.closingTime)
                closed.give(())
            }
        }
    }

    /// The first one that is given counts.
    private final class FirstAnswer<Value: Sendable>: Sendable {
        private let waiting: Mutex<CheckedContinuation<Value, Never>?>

        init(_ continuation: CheckedContinuation<Value, Never>) { waiting = Mutex(continuation) }

        var isGiven: Bool { waiting.withLock { $0 == nil } }

        func give(_ value: Value) {
            let waiting = waiting.withLock { held in
                defer { held = nil }
                return held
            }
            waiting?.resume(returning: value)
        }
    }

    /// The last job after a shutdown closes what is open.
    private func endJob() {
        let last = state.withLock { state -> (idle: [PKCS11Session], closed: FirstAnswer<Void>?)? in
            state.jobs -= 1
            guard state.isShutDown, state.jobs == 0 else { return nil }
            defer { state.idle = [] }
            return (state.idle, state.closed)
        }
        guard let last else { return }
        module.withCalls {
            let current = last.idle.filter { $0.generation == module.generation }
            // The login is the token's for the whole process, where others may still need it.
            if module.hasOneUser { current.first?.logOut() }
            for session in current { module.closeSession(session) }
        }
        module.release()
        last.closed?.give(())
    }

    private static let shutDown = KMSError.unavailable(reason: "the PKCS#11 adapter is shut down")

    // MARK: Attempts

    private func attempt<Success>(
        readWrite: Bool, _ work: (PKCS11Session) throws(PKCS11Failure) -> Success
    ) throws(KMSError) -> Success {
        // Of the module, in which the attempt was made.
        var generation = module.generation
        do throws(PKCS11Failure) {
            return try once(readWrite: readWrite, &generation, work)
        } catch {
            if error.isLossOfLogin {
                // The next login, some time from now, finds the module initialized anew.
                try? module.restart(seen: generation)
                throw error.kmsError
            }
            if error.isLoss { module.endSessions(seen: generation) } else if !error.isStale { throw error.kmsError }
            guard error.mayBeRepeated else { throw error.kmsError }
        }
        do throws(PKCS11Failure) {
            return try once(readWrite: readWrite, &generation, work)
        } catch {
            guard error.isLoss else { throw error.kmsError }
            guard error.mayBeRepeated else {
                module.endSessions(seen: generation)
                throw error.kmsError
            }
        }
        do throws(PKCS11Failure) {
            try module.restart(seen: generation)
            return try once(readWrite: readWrite, &generation, work)
        } catch {
            // What was lost holds a session of the token, and may hold a secret in it, until it is closed.
            if error.isLoss { module.endSessions(seen: generation) }
            throw error.kmsError
        }
    }

    private func once<Success>(
        readWrite: Bool, _ generation: inout Int, _ work: (PKCS11Session) throws(PKCS11Failure) -> Success
    ) throws(PKCS11Failure) -> Success {
        try module.withCalls { () throws(PKCS11Failure) in
            generation = module.generation
            let session = try take(readWrite: readWrite)
            do throws(PKCS11Failure) {
                let success = try work(session)
                giveBack(session, keep: !readWrite)
                return success
            } catch {
                // A lost session is not closed here: its number may be that of another thread's new one by now.
                if error.isLoss { throw error }
                // A call that failed may have left an operation active.
                var isClean = false
                if case .kms = error { isClean = true }
                giveBack(session, keep: isClean && !readWrite)
                throw error
            }
        }
    }

    private func giveBack(_ session: PKCS11Session, keep: Bool) {
        let isKept = state.withLock { state in
            guard keep, session.generation == state.generation else { return false }
            state.idle.append(session)
            return true
        }
        if !isKept { module.closeSession(session) }
    }

    // MARK: Sessions

    private func take(readWrite: Bool) throws(PKCS11Failure) -> PKCS11Session {
        let generation = module.generation
        let idle = try state.withLock { state throws(PKCS11Failure) -> PKCS11Session? in
            guard !state.isShutDown else { throw .kms(Self.shutDown) }
            if state.generation != generation {
                state.idle = []
                state.slot = nil
                state.generation = generation
            }
            return readWrite ? nil : state.idle.popLast()
        }
        if let idle { return idle }
        return try opening.withLock { _ throws(PKCS11Failure) -> PKCS11Session in
            try open(readWrite: readWrite, generation: generation)
        }
    }

    private func open(readWrite: Bool, generation: Int) throws(PKCS11Failure) -> PKCS11Session {
        let (known, refusal) = state.withLock { ($0.slot, $0.refusal) }
        if let refusal, refusal.end.map({ .now < $0 }) ?? true { throw .kms(refusal.error) }
        let slot: UInt
        if let known { slot = known } else { slot = try locate() }
        state.withLock { $0.slot = slot }
        let handle = try module.openSession(slot, flags: Cryptoki.serial | (readWrite ? Cryptoki.readWrite : 0))
        let session = PKCS11Session(
            handle: handle, slot: slot, generation: generation, functions: module.functions)
        do throws(PKCS11Failure) {
            try logIn(session)
            return session
        } catch {
            if !error.isLoss { module.closeSession(session) }
            throw error
        }
    }

    private func logIn(_ session: PKCS11Session) throws(PKCS11Failure) {
        guard try !session.isLoggedIn() else { return }
        let flags = try session.tokenFlags()
        // A program that restarts when it fails would otherwise use up the tries that are left.
        guard flags & Cryptoki.pinLockedFlag == 0 else { throw .call("C_Login", Cryptoki.pinLocked) }
        guard flags & Cryptoki.pinFinalTry == 0 else {
            throw .kms(
                .denied(
                    reason: "the token locks at the next wrong PIN, which is not risked: check the PIN, and log in "
                        + "once by hand (pkcs11-tool --login --list-objects)"))
        }
        do throws(PKCS11Failure) {
            try session.logIn(pin)
            state.withLock { state in
                state.refusal = nil
                state.oddLogins = 0
            }
        } catch {
            // A device's error is what some modules say of a wrong PIN.
            guard case .call(_, let code) = error, !error.isLoss || code == Cryptoki.deviceError else { throw error }
            let isOfThePIN = [
                Cryptoki.pinIncorrect, Cryptoki.pinInvalid, Cryptoki.pinLengthRange, Cryptoki.pinExpired,
                Cryptoki.pinLocked,
            ].contains(code)
            // Another answer may mean the PIN all the same, and every request would cost a try. A token that counts
            // wrong PINs says so.
            let hasCounted = ~flags & ((try? session.tokenFlags()) ?? 0) & Cryptoki.pinCountLow != 0
            state.withLock { state in
                guard !isOfThePIN, !hasCounted else {
                    let said: KMSError = isOfThePIN ? error.kmsError : Self.wrongPIN(error.kmsError)
                    state.refusal = (said, nil)
                    return
                }
                let pause = min(Self.longestLoginPause, Self.loginPause << min(state.oddLogins, 10))
                state.oddLogins += 1
                state.refusal = (Self.laterLogin(error.kmsError, seconds: pause), .now + .seconds(pause))
            }
            throw error
        }
    }

    private static func wrongPIN(_ error: KMSError) -> KMSError {
        .denied(
            reason: "\(error); the token has counted a wrong PIN: correct it and restart. It is not tried again, "
                + "because tokens lock after a few")
    }

    private static func laterLogin(_ error: KMSError, seconds: Int) -> KMSError {
        let reason =
            "\(error); where that means a wrong PIN, correct it and restart. It is tried again after \(seconds) s, not "
            + "at once, because tokens lock after a few"
        if case .denied = error { return .denied(reason: reason) }
        return .unavailable(reason: reason)
    }

    /// The slot of the one token that the URI names.
    private func locate() throws(PKCS11Failure) -> UInt {
        guard let list = module.functions.pointee.get_slot_list, let get = module.functions.pointee.get_token_info
        else { throw .call("C_GetSlotList", Cryptoki.functionNotSupported) }
        var count: UInt = 0
        // Asking for the number also lets a module look for tokens that came since.
        var code = list(1, nil, &count)
        guard code == Cryptoki.ok else { throw .call("C_GetSlotList", code) }
        var slots = [UInt](repeating: 0, count: Int(min(count, 4096)) + 16)
        count = UInt(slots.count)
        code = list(1, &slots, &count)
        guard code == Cryptoki.ok else { throw .call("C_GetSlotList", code) }
        let matching = slots.prefix(Int(min(count, UInt(slots.count)))).filter { slot in
            var info = hkms_p11_token_info()
            guard get(slot, &info) == Cryptoki.ok, info.flags & Cryptoki.tokenInitialized != 0 else { return false }
            return uri.matches(info, slot: slot)
        }
        guard let slot = matching.first else { throw .noToken(uri.tokenDescription) }
        guard matching.count == 1 else {
            throw .kms(
                .unavailable(
                    reason: "\(matching.count) tokens match \(uri.tokenDescription): add serial=... to kms.pkcs11.uri"))
        }
        return slot
    }
}

extension PKCS11URI {
    fileprivate func matches(_ info: hkms_p11_token_info, slot: UInt) -> Bool {
        func equals(_ wanted: String?, _ field: some Any) -> Bool {
            guard let wanted else { return true }
            let bytes = withUnsafeBytes(of: field) { Array($0) }
            let end = bytes.lastIndex { $0 != 0x20 && $0 != 0 }.map { $0 + 1 } ?? 0
            return Array(wanted.utf8) == Array(bytes[..<end])
        }
        return equals(token, info.label) && equals(manufacturer, info.manufacturer) && equals(serial, info.serial)
            && equals(model, info.model) && slotID.map { $0 == slot } ?? true
    }
}
