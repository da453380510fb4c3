import CSecretMemory
import Synchronization

/// What to do where the system will not lock a secret's pages into memory.
public enum MemoryLockPolicy: String, Sendable, CaseIterable {
    /// Refuse to hold the secret. For everything but development.
    case required
    /// Lock where possible, go on where not. For development and tests.
    case preferred
}

/// Errors of secret memory. None of them carries a secret.
public enum SecretMemoryError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The pages could not be locked and the policy requires it; `limit` is RLIMIT_MEMLOCK in bytes.
    case cannotLock(bytes: Int, limit: UInt64)
    /// The system has no memory left.
    case outOfMemory(bytes: Int)
    /// The operating system's generator refused.
    case noRandomness

    public var description: String {
        switch self {
        case .cannotLock(let bytes, let limit):
            "cannot lock \(bytes) bytes into memory: the limit of locked memory is \(limit) bytes; "
                + "raise it (ulimit -l, LimitMEMLOCK= in systemd, --ulimit memlock= in containers) "
                + "or, for development only, set memory.lock: preferred"
        case .outOfMemory(let bytes):
            "no memory for a secret of \(bytes) bytes"
        case .noRandomness:
            "the operating system's random generator failed"
        }
    }
}

/// Process-wide settings of secret memory.
public enum SecretMemory {
    private static let lockRequired = Atomic<Bool>(false)

    /// The policy that every new ``SecretBytes`` follows. A server sets it once, at start.
    public static var lockPolicy: MemoryLockPolicy {
        get { lockRequired.load(ordering: .relaxed) ? .required : .preferred }
        set { lockRequired.store(newValue == .required, ordering: .relaxed) }
    }

    /// RLIMIT_MEMLOCK in bytes, `UInt64.max` when unlimited.
    public static var lockedMemoryLimit: UInt64 { hkms_locked_memory_limit() }

    /// Forbids core dumps of this process and reading of its memory by others of the same user.
    /// - Returns: false where the system refused.
    @discardableResult
    public static func forbidCoreDumps() -> Bool { hkms_forbid_core_dumps() == 0 }

    /// Zeroes a buffer that a library handed out, in a way that no optimizer removes.
    public static func wipe(_ buffer: UnsafeMutableRawBufferPointer) {
        guard let base = buffer.baseAddress else { return }
        hkms_secure_zero(base, buffer.count)
    }

    /// Zeroes contiguous bytes behind a read-only view.
    ///
    /// `Data`'s mutable accessor may copy first and so wipe the copy; the read-only one does not
    /// copy. The caller must own the storage alone.
    public static func wipe(uniquelyOwned buffer: UnsafeRawBufferPointer) {
        guard let base = buffer.baseAddress else { return }
        hkms_secure_zero(UnsafeMutableRawPointer(mutating: base), buffer.count)
    }

    /// Zeroes the stack below the caller: what kernels that worked on secrets left there.
    public static func wipeDeadStack() { hkms_zero_dead_stack() }

    /// Runs `body`, and zeroes the stack that it used: libraries leave keys in frames that nobody writes over while
    /// the thread has nothing to do.
    @inline(never)
    public static func withWipedStack<Result: ~Copyable, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { hkms_zero_dead_stack() }
        return try inFrameOfItsOwn(body)
    }

    /// Never inlined, so that what the compiler keeps of `body` on the stack is below the caller's frame too.
    @inline(never)
    private static func inFrameOfItsOwn<Result: ~Copyable, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result { try body() }
}
