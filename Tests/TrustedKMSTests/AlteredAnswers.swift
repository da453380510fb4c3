import CPKCS11
import Dispatch
import Synchronization

/// Answers of a real module, on their way to the adapter, for one token.
///
/// The calls are made by the token all the same, as where a connection to an HSM ends before the answer is there.
final class AlteredAnswers {
    enum Call { case generateKey, setAttribute, logIn, encrypt, finalize }

    private struct State {
        var slot: UInt = 0
        var answers: [Call: UInt] = [:]
        var counts: [Call: Int] = [:]
        var appended = 0
        var hangs: DispatchSemaphore?
        var original = hkms_p11_functions()
    }

    // A C function captures nothing.
    private static let state = Mutex(State())

    private let functions: UnsafeMutablePointer<hkms_p11_functions>

    /// - Parameters:
    ///   - answers: in place of the module's own, until ``restore()``.
    ///   - appended: zeros behind every ciphertext, as of an HSM that appends an IV.
    ///   - hangs: encryption waits for it.
    init(
        _ token: PKCS11TestToken, _ answers: [Call: UInt] = [:], appended: Int = 0, hangs: DispatchSemaphore? = nil
    ) throws {
        let administrator = try TokenAdministrator(token)
        defer { administrator.close() }
        let functions = administrator.functions
        self.functions = functions
        Self.state.withLock { state in
            state = State(
                slot: administrator.slot, answers: answers, appended: appended, hangs: hangs,
                original: functions.pointee)
        }
        functions.pointee.generate_key = { session, mechanism, attributes, count, key in
            let answer = AlteredAnswers.original.generate_key(session, mechanism, attributes, count, key)
            return AlteredAnswers.altered(.generateKey, session, answer)
        }
        functions.pointee.set_attribute_value = { session, object, attributes, count in
            let answer = AlteredAnswers.original.set_attribute_value(session, object, attributes, count)
            return AlteredAnswers.altered(.setAttribute, session, answer)
        }
        functions.pointee.encrypt = { session, plaintext, length, ciphertext, count in
            let answer = AlteredAnswers.original.encrypt(session, plaintext, length, ciphertext, count)
            guard AlteredAnswers.isToken(session) else { return answer }
            let (appended, hangs) = AlteredAnswers.state.withLock { ($0.appended, $0.hangs) }
            hangs?.wait()
            if let ciphertext, let count {
                for _ in 0..<appended {
                    ciphertext[Int(count.pointee)] = 0
                    count.pointee += 1
                }
            }
            return AlteredAnswers.altered(.encrypt, session, answer)
        }
        functions.pointee.finalize = { reserved in
            AlteredAnswers.state.withLock { $0.counts[.finalize, default: 0] += 1 }
            return AlteredAnswers.original.finalize(reserved)
        }
        functions.pointee.login = { session, user, pin, length in
            // Not done, or it would end what is counted here.
            guard AlteredAnswers.hasAnswer(.logIn, session) else {
                return AlteredAnswers.original.login(session, user, pin, length)
            }
            return AlteredAnswers.altered(.logIn, session, 0)
        }
    }

    private static var original: hkms_p11_functions { state.withLock { $0.original } }

    private static func isToken(_ session: UInt) -> Bool {
        let (original, slot) = state.withLock { ($0.original, $0.slot) }
        var info = hkms_p11_session_info()
        return original.get_session_info(session, &info) == 0 && info.slot == slot
    }

    private static func hasAnswer(_ call: Call, _ session: UInt) -> Bool {
        isToken(session) && state.withLock { $0.answers[call] != nil }
    }

    private static func altered(_ call: Call, _ session: UInt, _ answer: UInt) -> UInt {
        guard isToken(session) else { return answer }
        return state.withLock { state in
            state.counts[call, default: 0] += 1
            return state.answers[call] ?? answer
        }
    }

    /// How often the adapter, or an administrator, made the call at this token.
    func count(_ call: Call) -> Int { Self.state.withLock { $0.counts[call] ?? 0 } }

    func restore() {
        let original = Self.original
        functions.pointee.generate_key = original.generate_key
        functions.pointee.set_attribute_value = original.set_attribute_value
        functions.pointee.login = original.login
        functions.pointee.encrypt = original.encrypt
        functions.pointee.finalize = original.finalize
    }
}
