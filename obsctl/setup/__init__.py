"""What a cluster with ACLs needs for the stack's own programs: policies, roles and a login"""
