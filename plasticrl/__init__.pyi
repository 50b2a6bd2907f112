from .nn import PlasticGRU as PlasticGRU
from .nn import PlasticGRUCell as PlasticGRUCell
from .nn import PlasticLinear as PlasticLinear
from .nn import PlasticLSTM as PlasticLSTM
from .nn import PlasticLSTMCell as PlasticLSTMCell
from .nn import PlasticRNN as PlasticRNN
from .nn import PlasticRNNCell as PlasticRNNCell
from .ops import plastic_scan as plastic_scan
from .rules import ClippedHebb as ClippedHebb
from .rules import Delta as Delta
from .rules import FastWeights as FastWeights
from .rules import Hebb as Hebb
from .rules import HebbianRule as HebbianRule
from .rules import Oja as Oja
from .rules import Retroactive as Retroactive
from .rules import Rule as Rule
from .rules import ShortTermPlasticity as ShortTermPlasticity
from .state import PlasticLSTMState as PlasticLSTMState
from .state import PlasticState as PlasticState

__version__: str
