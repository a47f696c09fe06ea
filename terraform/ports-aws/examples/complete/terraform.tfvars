region                 = "eu-central-1"
vpc_id                 = "vpc-0123456789abcdef0"
subnet_ids             = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
cidrs                  = ["10.20.0.0/16"]
certificate_arn        = "arn:aws:acm:eu-central-1:123456789012:certificate/01234567-89ab-cdef-0123-456789abcdef"
node_security_group_id = "sg-0123456789abcdef0"
nodes                  = ["10.0.1.21", "10.0.1.22", "10.0.1.23"]
