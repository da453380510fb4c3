import ServiceKit

/// Duties that no one principal may have together: an action of `either` and an action of `or`.
struct Separation: Sendable, Hashable {
    var reference: RuleReference
    var either: ActionSet
    var or: ActionSet

    func concerns(_ action: AccessAction) -> Bool {
        action.closure.intersects(either) || action.closure.intersects(or)
    }

    func isBroken(by held: ActionSet) -> Bool { held.intersects(either) && held.intersects(or) }
}

extension Policy {
    /// What a principal may do somewhere, some time, with the parts of it: what its allow rules name and no deny rule
    /// takes away whatever else holds.
    func held(by principal: Principal) -> ActionSet {
        let taken = taken(from: principal)
        var held: ActionSet = []
        for rule in rules where rule.effect == .allow && rule.who.contains(principal) {
            held.formUnion(rule.left(by: taken))
        }
        return held
    }

    /// What is denied to a principal whatever else holds.
    func taken(from principal: Principal) -> ActionSet {
        var taken: ActionSet = []
        for rule in rules where rule.deniesAlways && rule.who.contains(principal) { taken.formUnion(rule.actions) }
        return taken
    }

    /// The first separation that forbids the request, because the principal holds both of its sides.
    func brokenSeparation(_ request: AccessRequest) -> Separation? {
        let concerned = separations.filter { $0.concerns(request.action) }
        guard !concerned.isEmpty else { return nil }
        let held = held(by: request.principal)
        return concerned.first { $0.isBroken(by: held) }
    }
}

extension Rule {
    /// The actions of an allow rule, and their parts, but those of which a part is denied always.
    func left(by taken: ActionSet) -> ActionSet {
        var left: ActionSet = []
        for action in actions.actions where !action.closure.intersects(taken) { left.formUnion(action.closure) }
        return left
    }
}
