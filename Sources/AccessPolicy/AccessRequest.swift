import ServiceKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A question to a ``Policy``: may this principal do this, to this, now, from here?
///
/// What is nil is not known. It does not match an allow rule that asks for it, and matches a deny rule.
public struct AccessRequest: Sendable, Hashable {
    /// Who owns a key set.
    public struct Owner: Sendable, Hashable {
        public enum Kind: String, Sendable {
            case user
            case group
        }
        public var kind: Kind
        /// Who vouches for the owner's name.
        public var issuer: String
        /// Name of the user or of the group.
        public var name: String

        public init(kind: Kind, issuer: String, name: String) {
            self.kind = kind
            self.issuer = issuer
            self.name = name
        }
    }

    /// Which key set.
    public enum KeySet: Sendable, Hashable {
        case id(String)
        /// One that is made by this request, ephemeral ones too.
        case new
    }

    /// How many decryptions a key set has left.
    public enum DecryptionsLeft: Sendable, Hashable {
        case count(Int)
        case unlimited
    }

    /// Who may see results of a key set.
    public enum Audience: String, Sendable, CaseIterable {
        case owner
        case shared
    }

    /// The authenticated caller.
    public var principal: Principal
    public var action: AccessAction
    /// The tenant to which belongs what is acted on: the key set's, or the gateway's where there is no key set yet.
    public var tenant: String
    public var keySet: KeySet?
    /// The key set's owner; of a new one the owner that it is to have, of an ephemeral one the caller.
    public var owner: Owner?
    /// The model or circuit that the request names, else the one that the key set was registered for.
    public var model: String?
    public var time: Date?
    /// Where the request comes from.
    public var address: IPAddress?
    public var decryptionsLeft: DecryptionsLeft?
    public var audience: Audience?

    public init(
        _ action: AccessAction, by principal: Principal, tenant: String, keySet: KeySet? = nil, owner: Owner? = nil,
        model: String? = nil, time: Date? = nil, address: IPAddress? = nil, decryptionsLeft: DecryptionsLeft? = nil,
        audience: Audience? = nil
    ) {
        self.principal = principal
        self.action = action
        self.tenant = tenant
        self.keySet = keySet
        self.owner = owner
        self.model = model
        self.time = time
        self.address = address
        self.decryptionsLeft = decryptionsLeft
        self.audience = audience
    }
}
