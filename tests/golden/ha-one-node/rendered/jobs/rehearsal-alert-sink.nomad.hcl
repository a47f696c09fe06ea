job "rehearsal-alert-sink" {
  region      = "global"
  namespace   = "default"
  datacenters = ["*"]
  type        = "service"

  group "alert-sink" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "2s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "2s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "1m"
      unlimited      = true
    }

    network {
      mode = "host"
      port "http" {
        static = 8099
      }
    }

    service {
      name     = "alert-sink"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "rehearsal"
        nomad_namespace = "default"
      }

      check {
        type     = "http"
        path     = "/health"
        interval = "1s"
        timeout  = "2s"
      }
    }

    task "alert-sink" {
      kill_timeout = "10s"

      driver = "raw_exec"

      config {
        command = "obsctl"
        args = [
          "serve",
          "alert-sink",
          "--bind=${NOMAD_IP_http}",
          "--port=${NOMAD_PORT_http}",
          "--data-dir=${meta.obsctl_volumes}/rehearsal-alert-sink",
          "--heartbeat=10.0",
        ]
      }

      resources {
        cpu    = 100
        memory = 128
      }
    }
  }
}
