from .nn import PlasticLinear as PlasticLinear
from .nn import PlasticRNN as PlasticRNN
from .nn import PlasticRNNCell as PlasticRNNCell
from .ops import plastic_scan as plastic_scan
from .rules import ClippedHebb as ClippedHebb
from .rules import Hebb as Hebb
from .rules import Oja as Oja
from .state import PlasticState as PlasticState

__version__: str
