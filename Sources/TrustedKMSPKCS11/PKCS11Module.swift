import CPKCS11
import KeyManagement
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A shared library that speaks PKCS#11, loaded and initialized once in a process however many adapters use it.
///
/// It stays loaded: modules keep threads and exit handlers of their own.
final class PKCS11Module: @unchecked Sendable {
    // Sendable: the function list is the module's constant, the lock the operating system's, the rest behind `state`.

    private struct State {
        var users = 0
        /// False where somebody else in this process initialized it; it is theirs to finalize.
        var isOurs = false
        /// Counts how often all sessions ended. Handles of an older generation mean nothing.
        var generation = 0
        /// Sessions of this generation and their slots, of all adapters.
        var sessions: [UInt: UInt] = [:]
        var restarted: ContinuousClock.Instant?
    }

    let path: String
    let functions: UnsafeMutablePointer<hkms_p11_functions>
    /// Read by those who call the module, written by the one who initializes it anew.
    private let calls: UnsafeMutablePointer<pthread_rwlock_t>
    private let state = Mutex(State())
    /// opencryptoki (seen with 3.8.1) frees objects that other threads read, and crashes: one call at a time for it.
    private let isSerial = Atomic(false)

    private static let loaded = Mutex<[String: PKCS11Module]>([:])
    /// A module that does not come back is not initialized for every waiting call.
    private static let restartPause = Duration.seconds(1)
    #if canImport(Glibc) || canImport(Musl)
        /// Seconds in which calls under way must end, before sessions are ended.
        private static let longestWait = 15
    #endif

    private init(path: String, functions: UnsafeMutablePointer<hkms_p11_functions>) {
        self.path = path
        self.functions = functions
        calls = .allocate(capacity: 1)
        #if canImport(Glibc)
            // Or a writer would wait for as long as anybody calls.
            var attributes = pthread_rwlockattr_t()
            pthread_rwlockattr_init(&attributes)
            pthread_rwlockattr_setkind_np(&attributes, Int32(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP))
            pthread_rwlock_init(calls, &attributes)
            pthread_rwlockattr_destroy(&attributes)
        #else
            pthread_rwlock_init(calls, nil)
        #endif
    }

    // MARK: Life

    /// The module at an absolute path, initialized; give it back with ``release()``.
    static func open(_ path: String) throws(KMSError) -> PKCS11Module {
        let real = try checkFile(path)
        return try loaded.withLock { loaded throws(KMSError) -> PKCS11Module in
            let module: PKCS11Module
            if let known = loaded[real] { module = known } else { module = try load(real) }
            loaded[real] = module
            try module.state.withLock { state throws(KMSError) -> Void in
                if state.users == 0 {
                    state.isOurs = try module.initialize()
                    state.restarted = nil
                }
                state.users += 1
            }
            return module
        }
    }

    func release() {
        Self.loaded.withLock { _ in
            let isLast = state.withLock { state in
                state.users -= 1
                return state.users == 0 && state.isOurs
            }
            guard isLast else { return }
            pthread_rwlock_wrlock(calls)
            defer { pthread_rwlock_unlock(calls) }
            finalize()
        }
    }

    /// Nobody else calls the module meanwhile.
    private func finalize() {
        _ = functions.pointee.finalize?(nil)
        state.withLock { state in
            state.generation += 1
            state.sessions = [:]
        }
    }

    var generation: Int { state.withLock { $0.generation } }
    var hasOneUser: Bool { state.withLock { $0.users == 1 } }

    // MARK: Sessions

    /// A new session. Its handle is nobody else's: where somebody holds one of the same number, that session ended
    /// unnoticed, and two threads would have shared this one.
    func openSession(_ slot: UInt, flags: UInt) throws(PKCS11Failure) -> UInt {
        guard let open = functions.pointee.open_session else {
            throw .call("C_OpenSession", Cryptoki.functionNotSupported)
        }
        var handle = Cryptoki.noHandle
        let code = open(slot, flags, nil, nil, &handle)
        guard code == Cryptoki.ok else { throw .call("C_OpenSession", code) }
        let opened = handle
        let isNew = state.withLock { $0.sessions.updateValue(slot, forKey: opened) == nil }
        guard isNew else { throw .call("C_OpenSession", Cryptoki.sessionHandleInvalid) }
        return handle
    }

    /// Does nothing where the session ended with its generation.
    func closeSession(_ session: PKCS11Session) {
        let isOpen = state.withLock { state in
            state.generation == session.generation && state.sessions.removeValue(forKey: session.handle) != nil
        }
        if isOpen { _ = functions.pointee.close_session?(session.handle) }
    }

    /// After sessions, login or token were lost: ends all sessions of this process, when nobody calls. Each adapter
    /// notices by ``generation``.
    /// - Parameter seen: nothing is done where somebody else did it since.
    func endSessions(seen: Int) {
        guard (try? waitForCalls()) != nil else { return }
        defer { pthread_rwlock_unlock(calls) }
        let slots = state.withLock { state -> Set<UInt> in
            guard state.generation == seen else { return [] }
            defer { state.sessions = [:] }
            state.generation += 1
            return Set(state.sessions.values)
        }
        for slot in slots { _ = functions.pointee.close_all_sessions?(slot) }
    }

    /// Finalizes and initializes, which is what some modules need to see a token again. All sessions of this process
    /// are gone after it. Where it is not this process's to do, or was done a moment ago, all sessions are ended and no
    /// more.
    /// - Parameter seen: nothing is done where somebody else did it since.
    func restart(seen: Int) throws(PKCS11Failure) {
        let now = ContinuousClock.now
        let isDue = state.withLock { state in
            guard state.isOurs, state.generation == seen,
                state.restarted.map({ $0 + Self.restartPause < now }) ?? true
            else { return false }
            state.restarted = now
            return true
        }
        guard isDue else { return endSessions(seen: seen) }
        try waitForCalls()
        defer { pthread_rwlock_unlock(calls) }
        finalize()
        do throws(KMSError) { _ = try initialize() } catch { throw .kms(error) }
    }

    /// Takes the lock for one who ends sessions. Calls that begin wait behind it, so that one that hangs in the module
    /// must not hold it up for long.
    private func waitForCalls() throws(PKCS11Failure) {
        #if canImport(Glibc) || canImport(Musl)
            var end = timespec()
            clock_gettime(CLOCK_REALTIME, &end)
            end.tv_sec += Self.longestWait
            guard pthread_rwlock_timedwrlock(calls, &end) == 0 else {
                throw .kms(
                    .unavailable(
                        reason: "a call hangs in the PKCS#11 module \(path), and its lost sessions are not opened anew "
                            + "before it ends: see the HSM, and set a time limit in its client"))
            }
        #else
            pthread_rwlock_wrlock(calls)
        #endif
    }

    /// Runs `body`, in which the module is not initialized anew.
    func withCalls<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        if isSerial.load(ordering: .relaxed) { pthread_rwlock_wrlock(calls) } else { pthread_rwlock_rdlock(calls) }
        defer { pthread_rwlock_unlock(calls) }
        return try body()
    }

    // MARK: Loading

    private static func checkFile(_ path: String) throws(KMSError) -> String {
        guard let resolved = realpath(path, nil) else {
            throw .unavailable(
                reason: "there is no PKCS#11 module at \(path) (\(String(cString: strerror(errno)))): install it, or "
                    + "correct module-path")
        }
        defer { free(resolved) }
        var status = stat()
        guard stat(resolved, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw .unavailable(reason: "\(path) is no file: module-path must name the module's shared library itself")
        }
        // Its code runs in this process.
        guard status.st_mode & S_IWOTH == 0 else {
            throw .unavailable(reason: "anybody can write the PKCS#11 module \(path): run chmod o-w on it")
        }
        return String(cString: resolved)
    }

    private static func load(_ path: String) throws(KMSError) -> PKCS11Module {
        guard let library = dlopen(path, RTLD_NOW | RTLD_LOCAL) else {
            let reason = dlerror().map { String(cString: $0) } ?? "no reason given"
            throw .unavailable(reason: "the PKCS#11 module \(path) does not load: \(reason)")
        }
        guard let symbol = dlsym(library, "C_GetFunctionList") else {
            dlclose(library)
            throw .unavailable(
                reason: "\(path) is no PKCS#11 module, it has no C_GetFunctionList: correct module-path")
        }
        let getFunctionList = unsafeBitCast(symbol, to: hkms_p11_get_function_list.self)
        var list: UnsafeMutablePointer<hkms_p11_functions>?
        guard getFunctionList(&list) == Cryptoki.ok, let list else {
            throw .unavailable(reason: "the PKCS#11 module \(path) gives no function list: see its manual")
        }
        // Version 3 kept the layout and has C_GetInterface beside it.
        guard (2...3).contains(list.pointee.version.major) else {
            throw .unavailable(
                reason: "the PKCS#11 module \(path) is of version \(list.pointee.version.major), read are 2 and 3")
        }
        return PKCS11Module(path: path, functions: list)
    }

    /// - Returns: whether it was this call that did it.
    private func initialize() throws(KMSError) -> Bool {
        var arguments = hkms_p11_initialize_arguments()
        arguments.flags = Cryptoki.osLocking
        let code = functions.pointee.initialize?(&arguments) ?? Cryptoki.functionNotSupported
        var info = hkms_p11_info()
        if functions.pointee.get_info?(&info) == Cryptoki.ok {
            let description = withUnsafeBytes(of: info.library_description) { String(decoding: $0, as: UTF8.self) }
            // Its names then and now.
            let names = ["Meta PKCS11", "openCryptoki"]
            isSerial.store(names.contains { description.contains($0) }, ordering: .relaxed)
        }
        switch code {
        case Cryptoki.ok: return true
        case Cryptoki.alreadyInitialized: return false
        case Cryptoki.cannotLock:
            throw .unavailable(reason: "the PKCS#11 module \(path) does not support threads: use another one")
        default:
            throw .unavailable(
                reason: "the PKCS#11 module \(path) does not start, C_Initialize answered \(Cryptoki.name(code)): "
                    + "check its configuration file, its daemon and this user's groups")
        }
    }
}
