job "platform-victorialogs" {
  region      = "eu"
  namespace   = "observability"
  datacenters = ["fra1", "ams1"]
  type        = "service"
  node_pool   = "infrastructure"

  constraint {
    attribute = "${attr.cpu.arch}"
    operator  = "="
    value     = "amd64"
  }

  group "victorialogs" {
    update {
      max_parallel      = 1
      health_check      = "checks"
      min_healthy_time  = "10s"
      healthy_deadline  = "5m"
      progress_deadline = "10m"
      auto_revert       = true
    }

    restart {
      attempts = 3
      interval = "2m"
      delay    = "10s"
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
        static = 9428
      }
    }

    volume "data" {
      type   = "host"
      source = "platform-victorialogs"
    }

    service {
      name     = "victorialogs"
      provider = "consul"
      port     = "http"
      tags     = ["obsctl.scrape"]

      meta {
        obsctl_stack    = "platform"
        nomad_namespace = "observability"
      }

      check {
        type     = "http"
        path     = "/health"
        interval = "10s"
        timeout  = "2s"
      }
    }

    task "victorialogs" {
      kill_timeout = "30s" # what is in memory is written out at the end

      env {
        GOMEMLIMIT = "204MiB"
      }

      # The key of its maintenance calls, which could put days of lines aside.
      template {
        destination = "secrets/maintenance_key"
        change_mode = "noop"
        perms       = "0400"
        uid         = 0
        gid         = 0
        data        = "{{ with nomadVar \"nomad/jobs/platform-victorialogs\" }}{{ index . \"maintenance_key\" }}{{ end }}"
      }

      volume_mount {
        volume      = "data"
        destination = "/victoria-logs-data"
      }

      driver = "docker"

      config {
        image        = "victoriametrics/victoria-logs:v1.52.1"
        network_mode = "host"
        work_dir     = "/"
        args = [
          "-httpListenAddr=${NOMAD_ADDR_http}",
          "-enableTCP6",
          "-http.disableCORS",
          "-storageDataPath=/victoria-logs-data",
          "-retentionPeriod=168h",
          "-retention.maxDiskUsagePercent=50",
          "-storage.minFreeDiskSpaceBytes=256MB",
          "-memory.allowedBytes=153MB",
          "-defaultMsgValue=",
          "-loggerLevel=WARN",
          "-partitionManageAuthKey=file://${NOMAD_SECRETS_DIR}/maintenance_key",
          "-forceMergeAuthKey=file://${NOMAD_SECRETS_DIR}/maintenance_key",
          "-forceFlushAuthKey=file://${NOMAD_SECRETS_DIR}/maintenance_key",
          "-logNewStreamsAuthKey=file://${NOMAD_SECRETS_DIR}/maintenance_key",
          "-pprofAuthKey=file://${NOMAD_SECRETS_DIR}/maintenance_key",
        ]
      }

      resources {
        cpu    = 300
        memory = 256
      }
    }
  }
}
