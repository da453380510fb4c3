import ServiceKit

/// The key sets of a rule: those for which one of its parts holds.
struct KeySetSelector: Sendable, Hashable {
    /// Owned by the principal itself.
    var own = false
    /// Owned by a group of the principal.
    var myGroups = false
    /// Owned by one of these groups.
    var groups: NameList?
    var ids: NameList?
    var any = false

    var isEmpty: Bool { self == KeySetSelector() }

    func contains(_ request: AccessRequest, effect: Rule.Effect) -> Truth {
        if any { return .yes }
        let byID: Truth = ids.map { contains(id: request, in: $0) } ?? .no
        let byOwner: Truth = own || myGroups || groups != nil ? contains(owner: request, effect) : .no
        return !(!byID && !byOwner)
    }

    private func contains(id request: AccessRequest, in ids: NameList) -> Truth {
        switch request.keySet {
        case nil: .unknown
        case .new: .no
        case .id(let id): Truth(ids.contains(id))
        }
    }

    private func contains(owner request: AccessRequest, _ effect: Rule.Effect) -> Truth {
        guard let owner = request.owner else { return .unknown }
        let principal = request.principal
        let isOfIssuer = ExactName.areEqual(owner.issuer, principal.issuer)
        // A name says nothing in another tenant, or of another issuer.
        let isOfPrincipal = isOfIssuer && ExactName.areEqual(request.tenant, principal.tenant)
        switch owner.kind {
        case .user:
            return Truth(own && isOfPrincipal && ExactName.areEqual(owner.name, principal.subject))
        case .group:
            let isMine = myGroups && isOfPrincipal && principal.groups.contains { ExactName.areEqual($0, owner.name) }
            // Groups of that name of other issuers too, where it is denied.
            let isNamed = groups?.contains(owner.name) == true && (isOfIssuer || effect == .deny)
            return Truth(isMine || isNamed)
        }
    }

    /// Whether it is sure to have every key set of `other`, for whatever principal.
    func contains(_ other: KeySetSelector) -> Bool {
        func contains(_ list: NameList?, _ other: NameList?) -> Bool {
            guard let other else { return true }
            return list.map { other.isSubset(of: $0) } ?? false
        }
        return any
            || !other.any && (own || !other.own) && (myGroups || !other.myGroups) && contains(groups, other.groups)
                && contains(ids, other.ids)
    }
}
