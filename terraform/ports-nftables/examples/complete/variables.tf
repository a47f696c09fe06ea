variable "nodes" {
  description = "Addresses or networks of the nodes."
  type        = list(string)
}

variable "cidrs" {
  description = "Networks from which people reach the programs."
  type        = list(string)
}
